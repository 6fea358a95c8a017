"""The vision model: patches, positions, blocks that read the grid along paths, pooling, head."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.core.layers import make_norm
from xlstm_apps.core.pretrained import PretrainedMixin
from xlstm_apps.vision.config import SCANS, Pooling, VisionConfig
from xlstm_apps.vision.layers import VisionBlock, check_layers, drop_path_rates
from xlstm_apps.vision.patches import GridPositions, PatchEmbed, SinCosPositions
from xlstm_apps.vision.paths import Grid
from xlstm_apps.vision.pooling import Pool
from xlstm_apps.vision.scanning import Layout, Scan

Images = Tensor | Sequence[Tensor]


class VisionLSTM(nn.Module, PretrainedMixin):
    """Vision-LSTM: images of any size to class scores or features, at a cost linear in the number of patches.

    Methods are named as in timm. Nothing but learned positions knows the resolution, and these are interpolated: a
    model built for one size and run at another equals one built for the other with the same weights.

    Args:
        vision: Patches, reading order, pooling, head.
        backbone: The layers: family "xlstm" is Vision-LSTM as published (gated up-projection around the mLSTM),
            "xlstm-large" puts a feed-forward behind each mLSTM instead.

    Raises:
        ValueError: Options that do not go together.
    """

    def __init__(self, vision: VisionConfig, backbone: xLSTMConfig) -> None:
        super().__init__()
        check_layers(backbone, vision)
        self.vision, self.config = vision, backbone
        dim = backbone.embedding_dim
        self.patch_embed = PatchEmbed(vision, dim)
        self.positions = None
        if vision.positions == "learned":
            self.positions = GridPositions(vision.grid, dim)
        elif vision.positions == "sincos":
            self.positions = SinCosPositions(len(vision.grid), dim)
        rates = drop_path_rates(vision, backbone.num_blocks)
        self.blocks = nn.ModuleList(VisionBlock(backbone, vision, rate) for rate in rates)
        eps = vision.final_norm_eps or backbone.option("norm_eps")
        norm = make_norm(dataclasses.replace(backbone, norm_eps=eps), final=True)
        self.final_norm = norm if backbone.final_norm else nn.Identity()
        self.grad_checkpointing = False
        self._build_head()

    def _build_head(self) -> None:
        vision = self.vision
        self.pool = Pool(vision.pooling, self.config.embedding_dim)
        width = self.num_features = self.pool.num_features
        self.head_norm = nn.LayerNorm(width, vision.head_norm_eps) if vision.head_norm else nn.Identity()
        self.head = new_head(width, vision.num_classes)

    def forward(self, x: Images, sizes: Tensor | Sequence[Sequence[int]] | None = None) -> Tensor:
        """Images to class scores [B, num_classes], or to features where there are no classes.

        Args:
            x: [B, C, *size]; or a list of images [C, *size] of any sizes, which are packed: each gets what it would
                get alone.
            sizes: Sizes [B, dims] of the images within [B, C, *size], where they are padded at the far ends.
        """
        return self.forward_head(self.forward_features(x, sizes))

    def forward_features(
        self, x: Images, sizes: Tensor | Sequence[Sequence[int]] | None = None
    ) -> Tensor | list[Tensor]:
        """Normalised features of patches by rows, [B, S, E]; for images of several sizes a list of [S, E]."""
        if sizes is not None:
            x = cut_out(x, sizes)
        if isinstance(x, Tensor):
            tokens, layout, _ = self.embed(x)
            return self.final_norm(self._blocks(tokens, layout))
        tokens, layout, places = self._pack(x)
        parts = self.final_norm(self._blocks(tokens, layout))[0].split(layout.lengths)
        return [parts[place] for place in places]

    def forward_head(self, x: Tensor | list[Tensor], pre_logits: bool = False) -> Tensor:
        """From `forward_features` to class scores, or with `pre_logits` to the features that the head reads [B, F]."""
        pooled = self.pool(x) if isinstance(x, Tensor) else torch.cat([self.pool(one.unsqueeze(0)) for one in x])
        pooled = self.head_norm(pooled)
        return pooled if pre_logits else self.head(pooled)

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: Literal["NCHW", "NLC"] = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Features between the blocks.

        Args:
            x: [B, C, *size].
            indices: Behind which blocks, from 0; negative ones count from the end. A number n: the last n; None: all.
            norm: Normalise them as the last ones are.
            stop_early: Run no block behind the last of them.
            output_fmt: As pictures [B, E, *grid], or as tokens [B, S, E].
            intermediates_only: Do not return the final features too.

        Returns:
            The list, or what `forward_features` gives (with `stop_early` from the last block that ran) and the list.
        """
        if output_fmt not in ("NCHW", "NLC"):
            raise ValueError(f"output_fmt={output_fmt!r} is not one of 'NCHW', 'NLC'")
        wanted = self.block_indices(indices)
        tokens, layout, grid = self.embed(x)
        found: dict[int, Tensor] = {}
        last = max(wanted) if stop_early else len(self.blocks) - 1
        for index, tokens in enumerate(self._run(tokens, layout, last + 1)):  # noqa: B020 - the last one is used below
            if index in wanted:
                found[index] = self.final_norm(tokens) if norm else tokens
        picked = [found[index] for index in wanted]
        if output_fmt == "NCHW":
            picked = [one.mT.unflatten(-1, grid) for one in picked]
        return picked if intermediates_only else (self.final_norm(tokens), picked)

    def block_indices(self, indices: int | Sequence[int] | None) -> list[int]:
        """Indices of blocks as `forward_intermediates` takes them, as numbers from 0.

        Raises:
            ValueError: There are no such blocks.
        """
        depth = len(self.blocks)
        if indices is None:
            return [*range(depth)]
        if isinstance(indices, int):
            if not 1 <= indices <= depth:
                raise ValueError(f"indices={indices}: the last n of {depth} blocks are 1 to {depth}")
            return [*range(depth - indices, depth)]
        for index in indices:
            if not -depth <= index < depth:
                raise ValueError(f"no block {index}: they are numbered 0 to {depth - 1}, or -{depth} to -1")
        return sorted({index % depth for index in indices})

    def embed(self, x: Tensor) -> tuple[Tensor, Layout, Grid]:
        """Images [B, C, *size] -> tokens with their positions [B, S, E], and their grid."""
        tokens, grid = self.patch_embed(x)
        if self.positions is not None:
            tokens = tokens + self.positions(grid)
        return tokens, Layout(((tokens.shape[0], grid),), False), grid

    def scan_of(self, index: int) -> tuple[str, ...]:
        """The paths of a block."""
        cycle = SCANS[self.vision.scan]
        return cycle[index % len(cycle)]

    def _pack(self, images: Sequence[Tensor]) -> tuple[Tensor, Layout, list[int]]:
        """Tokens of images [C, *size] in one row [1, T, E], those of one size side by side, and where each stands."""
        if not images or any(image.dim() != len(self.vision.img_size) + 1 for image in images):
            shapes = [[*image.shape] for image in images[:4]]
            raise ValueError(f"expected a list of images [channels, *size], got {shapes or 'an empty one'}")
        sizes = [tuple(image.shape) for image in images]
        groups = {size: [n for n, other in enumerate(sizes) if other == size] for size in dict.fromkeys(sizes)}
        embedded = [(len(group), *self.embed(torch.stack([images[n] for n in group]))) for group in groups.values()]
        tokens = torch.cat([part.flatten(0, 1) for _, part, _, _ in embedded]).unsqueeze(0)
        layout = Layout(tuple((count, grid) for count, _, _, grid in embedded), True)
        packed = [n for group in groups.values() for n in group]
        return tokens, layout, [packed.index(n) for n in range(len(images))]

    def _blocks(self, tokens: Tensor, layout: Layout) -> Tensor:
        for tokens in self._run(tokens, layout, len(self.blocks)):  # noqa: B020, B007
            pass
        return tokens

    def _run(self, tokens: Tensor, layout: Layout, count: int) -> Iterator[Tensor]:
        """The residual stream behind each of the first blocks."""
        scans = {names: Scan(names, layout, tokens.device) for names in SCANS[self.vision.scan]}
        for index, block in enumerate(self.blocks[:count]):
            scan = scans[self.scan_of(index)]
            if self.grad_checkpointing and self.training:
                tokens = checkpoint(block, tokens, scan, use_reentrant=False)
            else:
                tokens = block(tokens, scan)
            yield tokens

    def get_classifier(self) -> nn.Module:
        """The head: a linear layer, or the identity where there are no classes."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: Pooling | None = None) -> None:
        """A new head for other classes (0: none), and another pooling if one is given."""
        changes: dict[str, Any] = {"num_classes": num_classes}
        old, like = self.vision.pooling, self.patch_embed.weight
        if global_pool is not None and global_pool != old:
            self._configure(pooling=global_pool, **changes)
            self._build_head()
            self.to(like.device, like.dtype)
        else:
            self._configure(**changes)
            self.head = new_head(self.num_features, num_classes).to(like.device, like.dtype)

    def set_input_size(self, img_size: int | tuple[int, ...]) -> None:
        """Store positions for another size, interpolated from those there are."""
        self._configure(img_size=img_size)
        if isinstance(self.positions, GridPositions):
            self.positions.resize(self.vision.grid)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute blocks in the backward pass instead of keeping what is in them: less memory, a third more time."""
        self.grad_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Parameters that are no weights of a map though they have several dimensions, or are kept free as published:
        positions, and the query of attention pooling."""
        names = ("positions.embedding", "pool.query")
        return {name for name, _ in self.named_parameters() if name in names}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that sort parameters into layers, as timm's tools take them."""
        blocks = r"^blocks\.(\d+)" if coarse else [(r"^blocks\.(\d+)", None), (r"^final_norm", (99999,))]
        return {"stem": r"^patch_embed|^positions", "blocks": blocks}

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """Width and distance in pixels of the features behind every block."""
        width, reduction = self.config.embedding_dim, max(self.vision.stride)
        return [{"num_chs": width, "reduction": reduction, "module": f"blocks.{n}"} for n in range(len(self.blocks))]

    def _configure(self, **changes: Any) -> None:
        """Change the configuration, and what is saved of it."""
        self.vision = self.patch_embed.vision = dataclasses.replace(self.vision, **changes)
        self._hub_mixin_config = {**self._hub_mixin_config, "vision": dataclasses.asdict(self.vision)}


def new_head(width: int, num_classes: int) -> nn.Module:
    """A linear layer that gives nearly 0 at first, or the identity for no classes."""
    if num_classes == 0:
        return nn.Identity()
    head = nn.Linear(width, num_classes)
    nn.init.trunc_normal_(head.weight, std=2e-5)
    nn.init.zeros_(head.bias)
    return head


def cut_out(x: Images, sizes: Tensor | Sequence[Sequence[int]]) -> list[Tensor]:
    """Images [C, *size] of their own sizes from a padded batch.

    Raises:
        ValueError: The sizes are not those of images within the batch.
    """
    rows = [[int(n) for n in size] for size in sizes]
    if not isinstance(x, Tensor) or len(rows) != x.shape[0]:
        raise ValueError(f"sizes has {len(rows)} rows; it goes with a batch [B, C, *size] of as many images")
    for row in rows:
        if len(row) != x.dim() - 2 or any(not 1 <= n <= whole for n, whole in zip(row, x.shape[2:], strict=True)):
            raise ValueError(f"a size of {row} does not lie within images of {[*x.shape[2:]]}")
    return [image[(slice(None), *(slice(n) for n in row))] for image, row in zip(x, rows, strict=True)]
