"""AdamW dont les moments vivent hors de la carte : les « optimiseurs paginés » de QLoRA, à la main.

Deux moments par poids, en float32 : huit octets, plus que le modèle. Le pas n’en lit qu’une page à
la fois ; le reste attend dans la mémoire de l’hôte, ou dans un fichier.

bitsandbytes (PagedAdamW) fait mieux sur une carte NVIDIA, par la mémoire unifiée de CUDA
(cudaMallocManaged). Hôte et carte y partagent les adresses : les pages montent quand un noyau les
touche, ou sur demande avant lui, et ne redescendent que si la place manque. Tant que tout tient sur
la carte, rien ne circule. Ici chaque page fait l’aller-retour à chaque pas. Dettmers et coll., 2023,
arXiv:2305.14314, section 3.
"""

import math
import mmap
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from llmbook.optim import AdamW


class PagedAdamW(AdamW):
    """Les pas d’`AdamW`, les moments ailleurs : en mémoire hôte, ou dans un fichier de `folder`.

    La mémoire hôte est épinglée si les poids sont sur une carte. Le fichier, projeté en mémoire,
    disparaît avec l’optimiseur ; ses pages sont rendues au système après chaque poids. page :
    nombres d’un moment traités à la fois. Les moments sont en float32 au moins, même en bfloat16.
    """

    def __init__(
        self,
        params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        folder: str | Path | None = None,
        page: int = 2**20,
    ):
        if page < 1:
            raise ValueError(f"page={page} : un nombre positif est attendu")
        if folder is not None and not Path(folder).is_dir():
            raise ValueError(f"folder={folder} : un dossier existant est attendu")
        super().__init__(params, lr, betas, eps, weight_decay)
        if not all(p.is_contiguous() for group in self.param_groups for p in group["params"]):
            raise ValueError("un poids n’est pas contigu en mémoire : remplacez-le par sa copie")
        self.folder, self.page = folder, page
        self.maps: dict[Tensor, mmap.mmap] = {}

    def state_of(self, p: Tensor) -> dict:
        """L’état d’un poids, créé nul la première fois ; les moments ont sa forme."""
        if not self.state[p]:
            dtype = torch.promote_types(p.dtype, torch.float32)
            if self.folder is None:
                moments = torch.zeros(2 * p.numel(), dtype=dtype, pin_memory=p.is_cuda)
            else:
                with tempfile.TemporaryFile(dir=self.folder) as file:
                    file.truncate(2 * p.numel() * dtype.itemsize)  # des zéros, sans les écrire
                    self.maps[p] = mmap.mmap(file.fileno(), 0)
                moments = torch.frombuffer(self.maps[p], dtype=dtype)
            first, second = moments.view(2, *p.shape)
            self.state[p] = {
                "step": torch.tensor(0.0),
                "exp_avg": first,
                "exp_avg_sq": second,
            }
        return self.state[p]

    def update(self, group, params):
        (beta1, beta2), lr = group["betas"], group["lr"]
        for p in params:
            state = self.state_of(p)
            state["step"] += 1
            t = state["step"].item()
            whole = [p.view(-1), state["exp_avg"].view(-1), state["exp_avg_sq"].view(-1)]
            gradients, kind = p.grad.reshape(-1), state["exp_avg"].dtype
            for i in range(0, p.numel(), self.page):
                parts = [tensor[i : i + self.page] for tensor in whole]
                # Sur processeur, en float32, w, m et v sont la page elle-même ; sinon, des copies
                w, m, v = (part.to(p.device, kind, non_blocking=True) for part in parts)
                g = gradients[i : i + self.page].to(kind)
                m.lerp_(g, 1 - beta1)
                v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
                root = v.sqrt().div_(math.sqrt(1 - beta2**t)).add_(group["eps"])
                w.mul_(1 - lr * group["weight_decay"])
                w.addcdiv_(m, root, value=-lr / (1 - beta1**t))
                for part, value in zip(parts, (w, m, v), strict=True):
                    if value is not part:
                        part.copy_(value, non_blocking=True)
            self.release(p)
        if params and params[0].is_cuda:
            torch.cuda.synchronize()  # les moments sont revenus avant que quiconque les lise

    def release(self, p: Tensor) -> None:
        """Rend au système les pages d’un poids ; le fichier garde leur contenu."""
        if p in self.maps and hasattr(mmap, "MADV_DONTNEED"):
            self.maps[p].madvise(mmap.MADV_DONTNEED)

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict) -> None:
        """Reprend l’état d’un AdamW, paginé ou non, de torch ou du livre, sans passer par la carte."""
        super().load_state_dict(state_dict | {"state": {}})
        numbers = [i for group in state_dict["param_groups"] for i in group["params"]]
        params = [p for group in self.param_groups for p in group["params"]]
        for i, p in zip(numbers, params, strict=True):
            for name, value in state_dict["state"].get(i, {}).items():
                self.state_of(p)[name].copy_(torch.as_tensor(value))
            self.release(p)
