"""Vision Transformer (Dosovitskiy et al. 2021) with the fused attention of torch, mean over patches."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from xlstm_apps.vision.patches import GridPositions


class Block(nn.Module):
    """Attention and a feed-forward of four times the width, each behind a norm."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, E] -> [B, S, E]."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """Patches, learned positions, blocks, mean over patches.

    Args:
        in_chans: Channels of the images.
        num_classes: Outputs.
        img_size: Of the images: one number for squares, or height and width; positions are interpolated for others.
        patch_size: Of the patches; the last ones are filled up with zeros.
        dim: Width, a multiple of `num_heads`.
        depth: Blocks.
        num_heads: Heads.
    """

    def __init__(
        self,
        in_chans: int,
        num_classes: int,
        img_size: int | tuple[int, int],
        patch_size: int,
        dim: int,
        depth: int,
        num_heads: int = 4,
    ) -> None:
        super().__init__()
        sides = (img_size, img_size) if isinstance(img_size, int) else img_size
        self.patches = nn.Conv2d(in_chans, dim, patch_size, patch_size)
        self.positions = GridPositions((-(-sides[0] // patch_size), -(-sides[1] // patch_size)), dim)
        self.blocks = nn.Sequential(*(Block(dim, num_heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, num_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, classes]."""
        missing = [-side % self.patches.stride[0] for side in x.shape[-2:]]
        x = self.patches(nn.functional.pad(x, (0, missing[1], 0, missing[0])))
        x = x.flatten(2).mT + self.positions((x.shape[-2], x.shape[-1]))
        return self.head(self.norm(self.blocks(x)).mean(1))
