#!/usr/bin/env python3
# Why this exists: the first three steps of every method by plain PyTorch, written from the paper's formulas and docs/method.md without a look at
# the engine, so that its tests do not look into their own mirror. Run it with any PyTorch: `python3 make.py`; it writes one folder a case.
import json
import os
import pathlib

import torch
import torch.nn.functional as F

FEATURES, DIM, BATCH, QUEUE, TOPK, TEMPERATURE, MOMENTUM, RATE, DECAY = 5, 4, 4, 8, 2, 0.1, 0.9, 0.01, 0.001
STEPS = 3
HERE = pathlib.Path(__file__).parent


class Net(torch.nn.Module):
    """Convolution, batch norm, ReLU, mean over time and space, two-layer head, unit length."""

    def __init__(self):
        super().__init__()
        self.backbone = torch.nn.Module()
        self.backbone.conv = torch.nn.Conv3d(3, FEATURES, 3, padding=1)
        self.backbone.bn = torch.nn.BatchNorm3d(FEATURES)
        self.head = torch.nn.ModuleDict({"0": torch.nn.Conv3d(FEATURES, FEATURES, 1), "2": torch.nn.Conv3d(FEATURES, DIM, 1)})

    def features(self, x):
        return torch.relu(self.backbone.bn(self.backbone.conv(x))).mean((2, 3, 4))

    def forward(self, x):
        h = self.features(x)[:, :, None, None, None]
        return F.normalize(self.head["2"](torch.relu(self.head["0"](h))).flatten(1), dim=1)


def fresh(seed):
    torch.manual_seed(seed)
    net = Net()
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn_like(p) * 0.5 + (1 if p.dim() == 1 and p.shape[0] == FEATURES else 0) * 0.3)
        net.backbone.bn.running_mean.copy_(torch.randn(FEATURES) * 0.3)
        net.backbone.bn.running_var.copy_(torch.rand(FEATURES) + 0.5)
    return net


def logits_of(q, k, queue, own):
    negatives = q @ queue
    if own is not None:
        negatives = negatives.masked_fill(own, float("-inf"))
    return torch.cat([(q * k).sum(1, keepdim=True), negatives], 1) / TEMPERATURE


def with_own_key(mask, own):
    if own is not None:
        mask = mask & ~own
    return torch.cat([torch.ones(len(mask), 1, dtype=torch.bool), mask], 1)


def info_nce(logits):
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))


def mean_of_logs(logits, mask):
    logs = F.log_softmax(logits, 1)
    return -torch.stack([logs[i][mask[i]].mean() for i in range(len(logits))]).mean()


def log_of_sum(logits, mask):
    probabilities = torch.softmax(logits.double(), 1)
    return -torch.stack([torch.log(probabilities[i][mask[i]].sum()) for i in range(len(logits))]).mean().float()


def nearest(similarity, siblings):
    ranked = similarity.masked_fill(siblings, float("-inf")).sort(1, descending=True)
    gap = (ranked.values[:, TOPK - 1] - ranked.values[:, TOPK]).min().item()
    if gap < 5e-4:
        raise ArithmeticError("which entries are mined hangs on rounding")
    return ranked.indices[:, :TOPK]


def co_mask(siblings, similarity, full, own):
    mask = siblings.clone()
    if full:
        mask.scatter_(1, nearest(similarity, siblings), True)
    return with_own_key(mask, own)


def without_self(mask):
    mask = mask.clone()
    mask[mask.sum(1) > 1, 0] = False
    return mask


def train(name, method, seed, views=("Rgb",), miner=None, space="projection", batch_negatives=False, masks_self=False, filled=QUEUE, reference=False):
    query = {v: fresh(seed + i) for i, v in enumerate(views)}
    key = {v: fresh(seed + i) for i, v in enumerate(views)}
    for net in key.values():
        for p in net.parameters():
            p.requires_grad = False
    mines = fresh(seed + 9).eval() if miner else None
    optimizer = torch.optim.Adam([p for v in views for p in query[v].parameters()], RATE, weight_decay=DECAY)
    torch.manual_seed(seed + 100)
    second_dim = FEATURES if space == "features" else DIM
    queue = F.normalize(torch.randn(DIM, QUEUE), dim=0)
    second = F.normalize(torch.randn(second_dim, QUEUE).abs() if space == "features" else torch.randn(second_dim, QUEUE), dim=0) if miner or len(views) > 1 else None
    videos, labels, written = torch.arange(20, 20 + QUEUE), torch.arange(QUEUE) % 3 - 1, torch.full((QUEUE,), -1)
    videos[1], videos[2] = 0, 3
    written[:BATCH] = -2
    if filled < QUEUE:
        videos[filled:], labels[filled:], written[filled:] = -1, -1, -1
    pointer, count = (BATCH if filled == QUEUE else filled), filled

    out, meta = {}, {"name": name, "method": method, "views": list(views), "miner": miner, "mineIn": space, "batchNegatives": batch_negatives,
                     "selfMasking": "1" if masks_self else "0", "reference": reference, "batch": BATCH, "queue": QUEUE, "topK": TOPK, "temperature": str(TEMPERATURE),
                     "momentum": str(MOMENTUM), "learningRate": str(RATE), "weightDecay": str(DECAY), "features": FEATURES, "dim": DIM, "steps": []}

    def keep(prefix, state):
        out.update({prefix + n: t.detach().clone() for n, t in state.items()})

    for v in views:
        keep(f"before/{v}/", query[v].state_dict())
    if mines:
        keep(f"before/miner/", mines.state_dict())
    keep("before/queue/", {"keys": queue, "videos": videos, "labels": labels, "written_at": written, "pointer": torch.tensor(pointer), "count": torch.tensor(count)})
    if second is not None:
        keep("before/queue/", {"second_keys": second})

    seen = list(views) + ([miner] if miner else [])
    for step in range(STEPS):
        clips = {v: torch.randn(BATCH, 2, 3, 2, 5, 5) + 3 * torch.randn(BATCH, 1, 3, 1, 1, 1) for v in seen}  # a video is a colour
        groups = (torch.arange(BATCH) + 3 * step) % 7
        truth = (torch.arange(BATCH) + step) % 3 - (torch.arange(BATCH) == 2).long() * 9
        truth = truth.clamp(min=-1)
        keep(f"{step}/", {f"clips/{v}": c for v, c in clips.items()})
        keep(f"{step}/", {"groups": groups, "labels": truth})

        q = {v: query[v](clips[v][:, 0]) for v in views}
        with torch.no_grad():
            for v in views:
                for pk, pq in zip(key[v].parameters(), query[v].parameters()):
                    pk.copy_(pk * MOMENTUM + pq * (1 - MOMENTUM))
            k = {v: key[v](clips[v][:, 1]) for v in views}
            if mines:
                k2 = F.normalize(mines.features(clips[miner][:, 1]), dim=1) if space == "features" else mines(clips[miner][:, 1])
            else:
                k2 = k[views[1]] if len(views) > 1 else None
        k1 = k[views[0]]

        def enqueue():
            nonlocal pointer, count
            at = slice(pointer, pointer + BATCH)
            queue[:, at] = k1.t()
            if second is not None:
                second[:, at] = k2.t()
            videos[at], labels[at], written[at] = groups, truth, step
            pointer, count = (pointer + BATCH) % QUEUE, min(QUEUE, count + BATCH)

        own = None
        if batch_negatives:
            own = torch.zeros(BATCH, QUEUE, dtype=torch.bool)
            own[torch.arange(BATCH), pointer + torch.arange(BATCH)] = True
            enqueue()
        # The queue changes in place later; the graph keeps its own copy.
        Q, Q2, full = queue.clone(), None if second is None else second.clone(), count == QUEUE
        siblings = groups[:, None] == videos[None, :]
        mined = None
        if method == "InfoNCE":
            logits = logits_of(q[views[0]], k1, Q, own)
            mask = with_own_key(torch.zeros(BATCH, QUEUE, dtype=torch.bool), None)
            loss = info_nce(logits)
        elif method == "UberNCE":
            logits = logits_of(q[views[0]], k1, Q, own)
            mask = with_own_key((truth[:, None] == labels[None, :]) & (labels[None, :] >= 0), own)
            loss = mean_of_logs(logits, mask)
        elif method == "CMC":
            logits = logits_of(q["Rgb"], k2, Q2, own)
            mask = with_own_key(torch.zeros(BATCH, QUEUE, dtype=torch.bool), None)
            loss = info_nce(logits) + info_nce(logits_of(q["Flow"], k1, Q, own))
        elif miner:
            if space == "features":
                centre = Q2.mean(1)
                similarity = F.normalize(k2 - centre, dim=1) @ F.normalize(Q2 - centre[:, None], dim=0)
            else:
                similarity = k2 @ Q2
            logits = logits_of(q[views[0]], k1, Q, own)
            mask = co_mask(siblings, similarity, full, own)
            loss = log_of_sum(logits, without_self(mask) if masks_self else mask)
            if full:
                mined = (q[views[0]].detach() @ Q, similarity)
                if own is not None:
                    mined = (mined[0].masked_fill(own, float("-inf")), similarity)
        else:
            rgb, flow = k1 @ Q, k2 @ Q2
            logits = logits_of(q["Rgb"], k1, Q, own)
            mask = co_mask(siblings, flow, full, own)
            other = co_mask(siblings, rgb, full, own)
            other_logits = logits_of(q["Flow"], k2, Q2, own)
            loss = log_of_sum(logits, without_self(mask) if masks_self else mask) + log_of_sum(other_logits, without_self(other) if masks_self else other)
            if full:
                mined = (rgb, flow)

        ranked = logits.detach().sort(1, descending=True).indices
        hit = mask.gather(1, ranked)
        numbers = {"loss": loss.item(), "pretext/top1": hit[:, 0].float().mean().item(), "pretext/top5": hit[:, :5].any(1).float().mean().item(),
                   "pretext/self-top1": (ranked[:, 0] == 0).float().mean().item()}
        if mined is not None:
            chosen, would_be = nearest(mined[1], siblings), nearest(mined[0], siblings)
            known = (truth[:, None] >= 0) & (labels[chosen] >= 0)
            numbers["mining/precision"] = ((labels[chosen] == truth[:, None]) & known).sum().item() / known.sum().item()
            numbers["mining/agreement"] = sum(len(set(a) & set(b)) for a, b in zip(chosen.tolist(), would_be.tolist())) / (BATCH * TOPK)
            numbers["mining/age-steps"] = (step - written[chosen]).double().mean().item()
        trains = not reference or full
        if trains:
            optimizer.zero_grad()
            loss.backward()
            numbers["gradient-norm"] = torch.sqrt(sum((p.grad.double() ** 2).sum() for v in views for p in query[v].parameters())).item()
            optimizer.step()
        if not batch_negatives:
            enqueue()
        keep(f"{step}/", {"keys": k1, "positives": mask.to(torch.uint8), "queue/keys": queue, "queue/videos": videos, "queue/labels": labels, "queue/written_at": written})
        if second is not None:
            keep(f"{step}/", {"second_keys": k2, "queue/second_keys": second})
        meta["steps"].append({"numbers": numbers, "trains": trains})

    for v in views:
        keep(f"after/{v}/query/", query[v].state_dict())
        keep(f"after/{v}/key/", key[v].state_dict())
        for n, p in query[v].named_parameters():
            if p in optimizer.state:
                keep(f"after/{v}/exp_avg/", {n: optimizer.state[p]["exp_avg"]})
                keep(f"after/{v}/exp_avg_sq/", {n: optimizer.state[p]["exp_avg_sq"]})
    write(HERE / name, meta, out)


def write(folder, meta, tensors):
    os.makedirs(folder, exist_ok=True)
    entries, offset = {}, 0
    with open(folder / "data.bin", "wb") as data:
        for name, tensor in tensors.items():
            raw = tensor.contiguous().numpy().tobytes()
            entries[name] = {"file": "data.bin", "offset": offset, "bytes": len(raw), "dtype": str(tensor.dtype).replace("torch.", ""), "shape": list(tensor.shape)}
            data.write(raw)
            offset += len(raw)
    (folder / "case.json").write_text(json.dumps({"meta": meta, "tensors": entries}, indent=1) + "\n")
    print(folder.name, [round(s["numbers"]["loss"], 5) for s in meta["steps"]], offset, "bytes")


def case(name, method, seed, **more):
    for s in range(seed, seed + 4000, 20):
        try:
            return train(name, method, s, **more)
        except ArithmeticError:
            continue


case("infonce", "InfoNCE", seed=1)
case("infonce-batch-negatives", "InfoNCE", seed=2, batch_negatives=True)
case("ubernce", "UberNCE", seed=3)
case("ubernce-batch-negatives", "UberNCE", seed=4, batch_negatives=True)
case("cmc", "CMC", seed=5, views=("Rgb", "Flow"))
case("coclr-rgb", "CoCLR", seed=6, miner="Flow", masks_self=True)
case("coclr-flow-keeps-self", "CoCLR", seed=7, views=("Flow",), miner="Rgb")
case("coclr-features-batch-negatives", "CoCLR", seed=8, miner="Flow", space="features", batch_negatives=True, masks_self=True)
case("coclr-features", "CoCLR", seed=9, miner="Flow", space="features")
case("coclr-simultaneous", "CoCLR", seed=10, views=("Rgb", "Flow"), masks_self=True)
case("coclr-reference-waits", "CoCLR", seed=11, miner="Flow", filled=BATCH, reference=True)
