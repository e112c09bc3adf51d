"""Flash attention, côté carte : les noyaux Triton que lance `triton_kernels.flash_attention`.

C’est l’algorithme de `attention.attention_tiled`. Une instance du noyau (*program*) tient une tuile
de requêtes, dont l’état du softmax en ligne reste dans les registres : la mémoire de la carte ne
voit jamais un score. Les exponentielles sont en base 2, que la carte fait en une instruction.

En arrière, deux noyaux relisent les tuiles : l’un tient des clés (dk, dv), l’autre des requêtes
(dq). Aucun n’ajoute dans une case que d’autres écrivent : le résultat est le même à chaque fois.
Dao, 2023, arXiv:2307.08691.
"""

import os
from types import SimpleNamespace

try:
    import triton
    import triton.language as tl
except ImportError:  # les noyaux restent lisibles ; les lancer dira comment installer triton
    triton, tl = None, SimpleNamespace(constexpr=int)

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def jit(kernel):
    return triton.jit(kernel) if triton else kernel


def tuned(*shapes):
    """Essaie ces tuiles au premier appel de chaque forme, et garde la plus rapide.

    shapes : (requêtes, clés, groupes de 32 fils, étages de chargement en avance) d’une tuile. La
    dernière est petite : c’est celle qui reste quand les autres débordent (float32, D = 256).
    """
    if not triton:
        return lambda kernel: kernel
    configs = [
        triton.Config({"BM": m, "BN": n}, num_warps=warps, num_stages=stages)
        for m, n, warps, stages in ([(32, 16, 4, 1)] if INTERPRETED else shapes)
    ]
    return triton.autotune(configs, key=["D", "CAUSAL", "WINDOW"])


# --- qui voit quoi ------------------------------------------------------------------------------


@jit
def visible(rows, cols, past, window, S, CAUSAL: tl.constexpr, WINDOW: tl.constexpr):
    """Vrai où la requête voit la clé ; rows et cols se diffusent l’un contre l’autre."""
    seen = (cols < S) & (rows >= 0)
    if CAUSAL:
        seen = seen & (rows + past >= cols)
    if WINDOW:
        seen = seen & (rows + past - cols < window)
    return seen


@jit
def key_bands(
    start, T, S, window, BM: tl.constexpr, BN: tl.constexpr,
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr,
):  # fmt: skip
    """Bornes (first, low, high, last) : entre low et high, rien à cacher à cette tuile."""
    past = S - T
    first, low, high, last = 0, 0, S // BN * BN, S
    if CAUSAL:
        last = tl.minimum(S, past + start + BM)
        high = tl.minimum(high, (past + start + 1) // BN * BN)
    if WINDOW:
        first = tl.maximum(0, past + start - window + 1) // BN * BN
        low = tl.maximum(0, past + start + BM - window + BN - 1) // BN * BN
        high = tl.maximum(high, first)
        low = tl.minimum(tl.maximum(low, first), high)
    return first, low, high, last


@jit
def query_bands(
    start, T, S, window, BM: tl.constexpr, BN: tl.constexpr,
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr,
):  # fmt: skip
    """Les mêmes bornes, pour les requêtes qui voient la tuile de clés qui commence à start."""
    past = S - T
    first, low, high, last = 0, 0, T // BM * BM, T
    if CAUSAL:
        first = tl.maximum(0, start - past) // BM * BM
        low = tl.maximum(0, start + BN - 1 - past + BM - 1) // BM * BM
    if WINDOW:
        last = tl.minimum(T, start + BN - 1 + window - past)
        high = tl.minimum(high, tl.maximum(0, start + window - past) // BM * BM)
    if CAUSAL:
        high = tl.maximum(high, first)
        low = tl.minimum(tl.maximum(low, first), high)
    return first, low, high, last


# --- en avant -----------------------------------------------------------------------------------


@jit
def forward_tiles(
    acc, total, best, Q, k, v, rows, past, window, S, scale, low, high, k_stride, v_stride,
    D: tl.constexpr, BN: tl.constexpr, CAUSAL: tl.constexpr, WINDOW: tl.constexpr,
    MASKED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Ajoute les clés de low à high : acc (BM, D), total et best (BM,)."""
    d = tl.arange(0, D)
    for start in tl.range(low, high, BN):
        cols = start + tl.arange(0, BN)
        k_at, v_at = k + cols[None, :] * k_stride + d[:, None], v + cols[:, None] * v_stride + d
        if MASKED:
            K = tl.load(k_at, mask=cols[None, :] < S, other=0.0)  # (D, BN)
            scores = tl.dot(Q, K, input_precision=PRECISION) * scale
            seen = visible(rows[:, None], cols[None, :], past, window, S, CAUSAL, WINDOW)
            scores = tl.where(seen, scores, -float("inf"))
            new = tl.maximum(best, tl.max(scores, 1))
            shift = tl.where(new == -float("inf"), 0.0, new)  # rien de visible encore
            p = tl.exp2(scores - shift[:, None])
            V = tl.load(v_at, mask=cols[:, None] < S, other=0.0)  # (BN, D)
        else:
            K = tl.load(k_at)
            scores = tl.dot(Q, K, input_precision=PRECISION)
            new = tl.maximum(best, tl.max(scores, 1) * scale)
            shift = new
            p = tl.exp2(scores * scale - shift[:, None])
            V = tl.load(v_at)
        shrink = tl.exp2(best - shift)  # ce qui précède était compté trop grand
        total = total * shrink + tl.sum(p, 1)
        acc = tl.dot(p.to(V.dtype), V, acc * shrink[:, None], input_precision=PRECISION)
        best = new
    return acc, total, best


@tuned((128, 128, 8, 2), (128, 128, 8, 3), (128, 64, 8, 3), (128, 64, 4, 3), (32, 32, 4, 1))
@jit
def forward_kernel(
    q, k, v, out, lse, scale, window, H, group, T, S,
    q_b, q_h, q_t, k_b, k_h, k_t, v_b, v_h, v_t, o_b, o_h, o_t,
    D: tl.constexpr, CAUSAL: tl.constexpr, WINDOW: tl.constexpr, PRECISION: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(1)
    b, h = (head // H).to(tl.int64), (head % H).to(tl.int64)
    start = (tl.num_programs(0) - 1 - tl.program_id(0)) * BM  # les plus longues d’abord
    rows, d = start + tl.arange(0, BM), tl.arange(0, D)
    inside = rows < T
    k += b * k_b + h // group * k_h
    v += b * v_b + h // group * v_h
    Q = tl.load(q + b * q_b + h * q_h + rows[:, None] * q_t + d, mask=inside[:, None], other=0.0)
    best = tl.full([BM], -float("inf"), tl.float32)
    total, acc = tl.zeros([BM], tl.float32), tl.zeros([BM, D], tl.float32)
    first, low, high, last = key_bands(start, T, S, window, BM, BN, CAUSAL, WINDOW)
    if WINDOW:
        acc, total, best = forward_tiles(
            acc, total, best, Q, k, v, rows, S - T, window, S, scale, first, low, k_t, v_t,
            D, BN, CAUSAL, WINDOW, True, PRECISION,
        )  # fmt: skip
    acc, total, best = forward_tiles(
        acc, total, best, Q, k, v, rows, S - T, window, S, scale, low, high, k_t, v_t,
        D, BN, CAUSAL, WINDOW, False, PRECISION,
    )  # fmt: skip
    acc, total, best = forward_tiles(
        acc, total, best, Q, k, v, rows, S - T, window, S, scale, high, last, k_t, v_t,
        D, BN, CAUSAL, WINDOW, True, PRECISION,
    )  # fmt: skip
    to = out + b * o_b + h * o_h + rows[:, None] * o_t + d
    tl.store(to, (acc / total[:, None]).to(out.dtype.element_ty), mask=inside[:, None])
    tl.store(lse + head.to(tl.int64) * T + rows, best + tl.log2(total), mask=inside)


# --- en arrière ---------------------------------------------------------------------------------


@jit
def delta_kernel(
    out, d_out, delta, H, T, o_b, o_h, o_t, g_b, g_h, g_t, D: tl.constexpr, BM: tl.constexpr
):
    """Σ do·o, la part de chaque requête que la dérivée du softmax retranche."""
    head = tl.program_id(1)
    b, h = (head // H).to(tl.int64), (head % H).to(tl.int64)
    rows, d = tl.program_id(0) * BM + tl.arange(0, BM), tl.arange(0, D)
    inside = rows < T
    o = tl.load(out + b * o_b + h * o_h + rows[:, None] * o_t + d, mask=inside[:, None], other=0.0)
    g = tl.load(
        d_out + b * g_b + h * g_h + rows[:, None] * g_t + d, mask=inside[:, None], other=0.0
    )
    dot = tl.sum(o.to(tl.float32) * g.to(tl.float32), 1)
    tl.store(delta + head.to(tl.int64) * T + rows, dot, mask=inside)


@jit
def key_gradient_tiles(
    dk, dv, K, V, q, d_out, lse, delta, cols, past, window, T, S, scale, low, high, q_t, g_t,
    D: tl.constexpr, BM: tl.constexpr, CAUSAL: tl.constexpr, WINDOW: tl.constexpr,
    MASKED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """dv += pᵀ do ; dk += dsᵀ q, pour les requêtes de low à high : dk, dv (BN, D)."""
    d = tl.arange(0, D)
    for start in tl.range(low, high, BM):
        rows = start + tl.arange(0, BM)
        q_at, g_at = q + rows[:, None] * q_t + d, d_out + rows[:, None] * g_t + d
        if MASKED:
            inside = rows < T
            Q = tl.load(q_at, mask=inside[:, None], other=0.0)  # (BM, D)
            G = tl.load(g_at, mask=inside[:, None], other=0.0)
            L = tl.load(lse + rows, mask=inside, other=float("inf"))  # p = 0 hors des T requêtes
            Z = tl.load(delta + rows, mask=inside, other=0.0)
        else:
            Q, G, L, Z = tl.load(q_at), tl.load(g_at), tl.load(lse + rows), tl.load(delta + rows)
        scores = tl.dot(K, tl.trans(Q), input_precision=PRECISION)  # (BN, BM)
        p = tl.exp2(scores * scale - L[None, :])
        if MASKED:
            seen = visible(rows[None, :], cols[:, None], past, window, S, CAUSAL, WINDOW)
            p = tl.where(seen, p, 0.0)
        dv = tl.dot(p.to(G.dtype), G, dv, input_precision=PRECISION)
        ds = p * (tl.dot(V, tl.trans(G), input_precision=PRECISION) - Z[None, :])
        dk = tl.dot(ds.to(Q.dtype), Q, dk, input_precision=PRECISION)
    return dk, dv


@tuned((64, 128, 8, 2), (64, 128, 4, 2), (64, 128, 8, 3), (64, 64, 4, 2), (32, 32, 4, 1))
@jit
def key_gradient_kernel(
    q, k, v, d_out, lse, delta, dk, dv, scale, factor, window, H, group, T, S,
    q_b, q_h, q_t, k_b, k_h, k_t, v_b, v_h, v_t, g_b, g_h, g_t, dk_b, dk_h, dk_t,
    D: tl.constexpr, CAUSAL: tl.constexpr, WINDOW: tl.constexpr, PRECISION: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Une tuile de clés face aux requêtes de toutes les têtes de son groupe."""
    kv_heads = H // group
    b = (tl.program_id(1) // kv_heads).to(tl.int64)
    h = (tl.program_id(1) % kv_heads).to(tl.int64)
    start = tl.program_id(0) * BN
    cols, d = start + tl.arange(0, BN), tl.arange(0, D)
    inside = cols[:, None] < S
    K = tl.load(k + b * k_b + h * k_h + cols[:, None] * k_t + d, mask=inside, other=0.0)
    V = tl.load(v + b * v_b + h * v_h + cols[:, None] * v_t + d, mask=inside, other=0.0)
    dK, dV = tl.zeros([BN, D], tl.float32), tl.zeros([BN, D], tl.float32)
    first, low, high, last = query_bands(start, T, S, window, BM, BN, CAUSAL, WINDOW)
    for g in range(0, group):
        head = h * group + g
        q_head, g_head = q + b * q_b + head * q_h, d_out + b * g_b + head * g_h
        at = (b * H + head) * T
        if CAUSAL:
            dK, dV = key_gradient_tiles(
                dK, dV, K, V, q_head, g_head, lse + at, delta + at, cols, S - T, window, T, S,
                scale, first, low, q_t, g_t, D, BM, CAUSAL, WINDOW, True, PRECISION,
            )  # fmt: skip
        dK, dV = key_gradient_tiles(
            dK, dV, K, V, q_head, g_head, lse + at, delta + at, cols, S - T, window, T, S,
            scale, low, high, q_t, g_t, D, BM, CAUSAL, WINDOW, False, PRECISION,
        )  # fmt: skip
        dK, dV = key_gradient_tiles(
            dK, dV, K, V, q_head, g_head, lse + at, delta + at, cols, S - T, window, T, S,
            scale, high, last, q_t, g_t, D, BM, CAUSAL, WINDOW, True, PRECISION,
        )  # fmt: skip
    to = b * dk_b + h * dk_h + cols[:, None] * dk_t + d
    tl.store(dk + to, (dK * factor).to(dk.dtype.element_ty), mask=inside)
    tl.store(dv + to, dV.to(dv.dtype.element_ty), mask=inside)


@jit
def query_gradient_tiles(
    dq, Q, G, L, Z, k, v, rows, past, window, S, scale, low, high, k_t, v_t,
    D: tl.constexpr, BN: tl.constexpr, CAUSAL: tl.constexpr, WINDOW: tl.constexpr,
    MASKED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """dq += ds k, pour les clés de low à high : dq (BM, D)."""
    d = tl.arange(0, D)
    for start in tl.range(low, high, BN):
        cols = start + tl.arange(0, BN)
        k_at, v_at = k + cols[:, None] * k_t + d, v + cols[:, None] * v_t + d
        if MASKED:
            K = tl.load(k_at, mask=cols[:, None] < S, other=0.0)  # (BN, D)
            V = tl.load(v_at, mask=cols[:, None] < S, other=0.0)
        else:
            K, V = tl.load(k_at), tl.load(v_at)
        p = tl.exp2(tl.dot(Q, tl.trans(K), input_precision=PRECISION) * scale - L[:, None])
        if MASKED:
            seen = visible(rows[:, None], cols[None, :], past, window, S, CAUSAL, WINDOW)
            p = tl.where(seen, p, 0.0)
        ds = p * (tl.dot(G, tl.trans(V), input_precision=PRECISION) - Z[:, None])
        dq = tl.dot(ds.to(K.dtype), K, dq, input_precision=PRECISION)
    return dq


@tuned((128, 64, 8, 3), (128, 64, 8, 2), (128, 128, 8, 2), (64, 64, 4, 2), (32, 32, 4, 1))
@jit
def query_gradient_kernel(
    q, k, v, d_out, lse, delta, dq, scale, factor, window, H, group, T, S,
    q_b, q_h, q_t, k_b, k_h, k_t, v_b, v_h, v_t, g_b, g_h, g_t, dq_b, dq_h, dq_t,
    D: tl.constexpr, CAUSAL: tl.constexpr, WINDOW: tl.constexpr, PRECISION: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Une tuile de requêtes face à ses clés."""
    head = tl.program_id(1)
    b, h = (head // H).to(tl.int64), (head % H).to(tl.int64)
    start = (tl.num_programs(0) - 1 - tl.program_id(0)) * BM
    rows, d = start + tl.arange(0, BM), tl.arange(0, D)
    inside = rows < T
    k += b * k_b + h // group * k_h
    v += b * v_b + h // group * v_h
    at = head.to(tl.int64) * T + rows
    q_at, g_at = q + b * q_b + h * q_h, d_out + b * g_b + h * g_h
    Q = tl.load(q_at + rows[:, None] * q_t + d, mask=inside[:, None], other=0.0)
    G = tl.load(g_at + rows[:, None] * g_t + d, mask=inside[:, None], other=0.0)
    L, Z = tl.load(lse + at, mask=inside, other=float("inf")), tl.load(delta + at, mask=inside)
    dQ = tl.zeros([BM, D], tl.float32)
    first, low, high, last = key_bands(start, T, S, window, BM, BN, CAUSAL, WINDOW)
    if WINDOW:
        dQ = query_gradient_tiles(
            dQ, Q, G, L, Z, k, v, rows, S - T, window, S, scale, first, low, k_t, v_t,
            D, BN, CAUSAL, WINDOW, True, PRECISION,
        )  # fmt: skip
    dQ = query_gradient_tiles(
        dQ, Q, G, L, Z, k, v, rows, S - T, window, S, scale, low, high, k_t, v_t,
        D, BN, CAUSAL, WINDOW, False, PRECISION,
    )  # fmt: skip
    dQ = query_gradient_tiles(
        dQ, Q, G, L, Z, k, v, rows, S - T, window, S, scale, high, last, k_t, v_t,
        D, BN, CAUSAL, WINDOW, True, PRECISION,
    )  # fmt: skip
    to = dq + b * dq_b + h * dq_h + rows[:, None] * dq_t + d
    tl.store(to, (dQ * factor).to(dq.dtype.element_ty), mask=inside[:, None])
