"""Ce qui se mesure sur une carte : l’utilisation du calcul, le décodage, les noyaux Triton.

    python -m tools.benchs.carte              tout, en trois minutes environ
    python -m tools.benchs.carte calcul       une partie : calcul, decodage, noyaux

Ne demande que torch, triton et transformers. Rien ici n’est lu par `make bench`, qui est fait pour
des processeurs : les résultats se recopient dans MESURES.md, avec le nom de la carte.
"""

import sys
import time

PEAK_TFLOPS = {"H100": 989.4, "H200": 989.4, "A100": 312.0}  # bf16 dense, fiches de NVIDIA
GPT_SHAPE = dict(d_model=768, n_layers=12, n_heads=6, n_kv_heads=6, d_ff=2048)  # 124 M, V = 50 304


def peak_flops(card: str) -> float | None:
    return next((peak * 1e12 for name, peak in PEAK_TFLOPS.items() if name in card), None)


def compute(say=print, steps: int = 60, batch_size: int = 64, context: int = 1024) -> None:
    """Débit et utilisation du calcul (MFU) de `llmbook.training.train`, 124 M de paramètres, bf16."""
    import numpy as np
    import torch

    from llmbook.model import LanguageModel, ModelConfig
    from llmbook.training import TrainConfig, train

    card = torch.cuda.get_device_name()
    config = ModelConfig(50_304, context=context, **GPT_SHAPE)
    tokens = np.random.default_rng(0).integers(50_304, size=4_000_000, dtype=np.uint16)
    for optimizer in ("adamw", "muon"):
        torch.manual_seed(0)
        model = LanguageModel(config).cuda()
        settings = TrainConfig(
            steps=steps,
            batch_size=batch_size,
            context=context,
            optimizer=optimizer,
            compile=True,
            log_every=20,
        )
        rate = max(step.tokens_per_s for step in train(model, tokens, settings))
        flops = model.flops_per_token(context) * rate
        peak = peak_flops(card)
        share = f", {100 * flops / peak:.1f} % de {peak / 1e12:.0f} TFLOP/s" if peak else ""
        say(
            f"entraînement, {model.n_parameters() / 1e6:.0f} M, lot {batch_size} × {context}, "
            f"{optimizer} : {rate:,.0f} tokens/s, {flops / 1e12:.0f} TFLOP/s{share}"
        )
        del model
        torch.cuda.empty_cache()


def decoding(say=print, n_tokens: int = 256) -> None:
    """Tokens/s du décodage glouton, lot 1, contre transformers, en alternant."""
    import statistics

    import torch

    from llmbook.generation import generate
    from llmbook.generation_static import StaticDecoder
    from llmbook.model import LanguageModel, ModelConfig

    prompt = list(range(5, 21))
    for label, config, dtype in (
        ("5,5 M", ModelConfig.sized(6, 4096, context=1024), torch.float32),
        ("124 M", ModelConfig(50_304, context=1024, **GPT_SHAPE), torch.bfloat16),
    ):
        torch.manual_seed(0)
        model = LanguageModel(config).cuda().to(dtype).eval()
        theirs = model.to_hf()
        theirs.generation_config.eos_token_id = None
        decoder = StaticDecoder(model, how="graph")
        ids = torch.tensor([prompt], device="cuda")

        def with_transformers(theirs=theirs, ids=ids):
            options = dict(max_new_tokens=n_tokens, do_sample=False, pad_token_id=0)
            with torch.no_grad():
                theirs.generate(ids, attention_mask=torch.ones_like(ids), **options)

        def with_graph(model=model, decoder=decoder):
            generate(model, prompt, max_tokens=n_tokens, temperature=None, decoder=decoder)

        rates = {with_transformers: [], with_graph: []}
        for turn in range(4):
            for way, found in rates.items():
                torch.cuda.synchronize()
                start = time.perf_counter()
                way()
                torch.cuda.synchronize()
                if turn:  # le premier tour chauffe
                    found.append(n_tokens / (time.perf_counter() - start))
        slow, fast = (statistics.median(found) for found in rates.values())
        say(
            f"décodage, {label}, {str(dtype)[6:]} : transformers {slow:.0f} tokens/s, "
            f"graphe CUDA {fast:.0f} ({fast / slow:.1f} ×)"
        )


def kernels(say=print) -> None:
    from tools.benchs.attention import on_a_card

    on_a_card(say)


PARTS = {"calcul": compute, "decodage": decoding, "noyaux": kernels}


def main(names) -> None:
    import torch

    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}", flush=True)
    for name in names or PARTS:
        PARTS[name](lambda text: print(text, flush=True))


if __name__ == "__main__":
    main(sys.argv[1:])
