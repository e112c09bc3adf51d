"""L’attention à T = 2048 et la perte par tranches : durée, et mémoire de pointe.

`python -m tools.benchs.attention` compare les noyaux Triton à PyTorch sur une carte, en quelques
dizaines de secondes ; elle ne demande que torch et triton.
"""

from tools.bench import Contest, bench, measure, peak_bytes

SHAPE = dict(B=1, H=4, Hk=2, T=2048, D=64)
TOKENS = dict(N=4096, C=192, V=4096)


def attention_step(way):
    """Avant et arrière d’une attention causale à requêtes groupées ; renvoie les trois gradients."""
    import torch

    generator = torch.Generator().manual_seed(0)
    B, H, Hk, T, D = SHAPE.values()
    q, k, v = (
        torch.randn(B, heads, T, D, generator=generator).requires_grad_() for heads in (H, Hk, Hk)
    )

    def step():
        return torch.autograd.grad(way(q, k, v).square().sum(), (q, k, v))

    return step


def loss_step(way):
    """Avant et arrière de la tête et de la perte, sous autocast bfloat16."""
    import torch

    generator = torch.Generator().manual_seed(0)
    N, C, V = TOKENS.values()
    hidden = torch.randn(N, C, generator=generator).requires_grad_()
    weight = torch.randn(V, C, generator=generator).mul_(0.02).requires_grad_()
    targets = torch.randint(V, (N,), generator=generator)

    def step():
        with torch.autocast("cpu", torch.bfloat16):
            loss = way(hidden, weight, targets)
        return torch.autograd.grad(loss, (hidden, weight))

    return step


def whole_loss(hidden, weight, targets):
    import torch.nn.functional as F

    return F.cross_entropy((hidden @ weight.T).float(), targets)


def close(ours, theirs):
    import torch

    pairs = zip(ours, theirs, strict=True)
    return all(torch.allclose(a, b, atol=1e-4, rtol=1e-3) for a, b in pairs)


@bench("Attention, T = 2048, avant et arrière", "la formule", "par tuiles")
def naive_and_tiled():
    from llmbook.attention import attention, attention_tiled

    return Contest(attention_step(attention), attention_step(attention_tiled), close)


@bench("Attention, T = 2048, contre PyTorch", "par tuiles", "scaled_dot_product_attention")
def tiled_and_sdpa():
    from llmbook.attention import attention_tiled, sdpa

    return Contest(attention_step(attention_tiled), attention_step(sdpa), close)


@bench("Tête et perte, 4 096 tokens, V = 4096", "tous les logits (torch)", "par tranches")
def whole_and_chunked_loss():
    from llmbook.losses import chunked_cross_entropy

    return Contest(loss_step(whole_loss), loss_step(chunked_cross_entropy), close)


@measure("Mémoire de pointe de l’attention, T = 2048, avant et arrière")
def attention_memory():
    from llmbook.attention import attention, attention_tiled, sdpa

    return "; ".join(
        f"{name} {megabytes(attention_step(way))}"
        for name, way in (("formule", attention), ("par tuiles", attention_tiled), ("SDPA", sdpa))
    ).replace(";", " ;")


@measure("Mémoire de pointe de la tête et de la perte, 4 096 tokens, V = 4096")
def loss_memory():
    from llmbook.losses import chunked_cross_entropy

    chunked = megabytes(loss_step(chunked_cross_entropy))
    return f"tous les logits {megabytes(loss_step(whole_loss))} ; par tranches {chunked}"


def megabytes(step):
    return f"{peak_bytes(step) / 1e6:.1f} Mo".replace(".", ",")


# --- sur une carte ------------------------------------------------------------------------------


def on_a_card(say=print):
    """TFLOP/s (attention) et Go/s (softmax) des noyaux Triton, à côté de ceux de PyTorch."""
    import torch
    import triton
    from triton.testing import do_bench

    from llmbook.attention import sdpa
    from llmbook.triton_kernels import flash_attention, softmax

    card = torch.cuda.get_device_name()
    say(f"{card}, torch {torch.__version__}, triton {triton.__version__}, bfloat16")
    torch.manual_seed(0)
    for B, H, T, D in ((16, 12, 1024, 64), (4, 16, 4096, 64), (4, 16, 4096, 128)):
        q, k, v, d = torch.randn(4, B, H, T, D, device="cuda").bfloat16()
        qkv = [x.requires_grad_() for x in (q, k, v)]
        flops, rates = 2 * B * H * T * T * D, {}  # causal : la moitié de T × T, deux produits
        for name, way in (("Triton", flash_attention), ("SDPA", sdpa)):
            out = way(*qkv)
            forward_ms = do_bench(lambda: way(*qkv))  # noqa: B023
            backward_ms = do_bench(lambda: torch.autograd.grad(out, qkv, d, retain_graph=True))  # noqa: B023
            rates[name] = flops / forward_ms / 1e9, 2.5 * flops / backward_ms / 1e9
        (ours, ours_back), (theirs, theirs_back) = rates.values()
        say(
            f"B={B} H={H} T={T} D={D} : avant {ours:.0f} TFLOP/s, SDPA {theirs:.0f} "
            f"({ours / theirs:.2f} ×) ; arrière {ours_back:.0f}, SDPA {theirs_back:.0f} "
            f"({ours_back / theirs_back:.2f} ×)"
        )
    for rows, N in ((16384, 4096), (4096, 50_304)):
        x = torch.randn(rows, N, device="cuda").bfloat16()
        moved = 2 * x.numel() * x.element_size() / 1e6
        ours = moved / do_bench(lambda: softmax(x))  # noqa: B023
        theirs = moved / do_bench(lambda: x.softmax(-1))  # noqa: B023
        say(
            f"softmax {rows} × {N} : {ours:.0f} Go/s, torch {theirs:.0f} Go/s ({ours / theirs:.2f} ×)"
        )


if __name__ == "__main__":
    on_a_card()
