"""The named recipes: which parts do the work, and what differs from the defaults of the stages.

``embedded`` needs nothing but the package. ``paper`` is arXiv 2603.23168 as its authors built it, with our choice
where the text leaves one (docs/recipes.md). ``paper-literal`` also takes its formulas as they are printed.
A recipe only sets defaults: every option overrides it, so parts can be mixed at will.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from gswap.pipeline.config import Job, Parts, Quality, Recipe, Settings
from gswap.portrait.config import preset


@dataclass(frozen=True)
class RecipeDefaults:
    """What a recipe stands for."""

    parts: Parts
    settings: Settings


def recipe_defaults(recipe: Recipe) -> RecipeDefaults:
    """Parts and settings of a recipe."""
    settings = Settings()
    if recipe == "embedded":
        return RecipeDefaults(Parts(), settings)
    parts = Parts(
        swapper="diffusion", parser="farl", inpainter="lama", perceptual="lpips-vgg", upscaler="real-esrgan-x2"
    )
    settings = dataclasses.replace(
        settings,
        retrack=dataclasses.replace(settings.retrack, method="full"),
        fit=dataclasses.replace(
            settings.fit,
            temporal="mlp",
            correct_pose=False,
            expressions=0,
            weight_perceptual=1.0,
            weight_gradient=0.0,
            weight_ssim=0.0,
            driving_condition="first",
        ),
    )
    if recipe == "paper":
        return RecipeDefaults(parts, settings)
    literal = dataclasses.replace(
        settings,
        fit=dataclasses.replace(
            settings.fit,
            paper_literal=True,
            delta_after_skinning=True,
            printed_fusion=True,
            splat_channels=32,
            temporal="add",
            offsets=False,
            weight_auxiliary=0.0,
            weight_sides=0.0,
            driving_shape="target",
        ),
        diffusion=dataclasses.replace(
            settings.diffusion,
            background="generated",
            adapt=dataclasses.replace(settings.diffusion.adapt, method="full"),
        ),
    )
    return RecipeDefaults(parts, literal)


def recipe_job(recipe: Recipe, **fields: Any) -> Job:
    """A job with the parts and settings of a recipe.

    Args:
        recipe: Its name.
        fields: Of :class:`~gswap.pipeline.config.Job`; if given, ``parts`` and ``settings`` replace the recipe's.

    Raises:
        TypeError: A required field is missing, or there is no such field.
    """
    defaults = recipe_defaults(recipe)
    return Job(**{"parts": defaults.parts, "settings": defaults.settings, **fields, "recipe": recipe})


def with_quality(settings: Settings, recipe: Recipe, quality: Quality) -> Settings:
    """The settings with the fit's effort set by name; what the user has set differently from the recipe stays."""
    effort, usual = preset(quality), preset("standard")
    own, recipes = settings.fit, recipe_defaults(recipe).settings.fit
    changed = {
        f.name: getattr(effort, f.name)
        for f in dataclasses.fields(effort)
        if getattr(effort, f.name) != getattr(usual, f.name) and getattr(own, f.name) == getattr(recipes, f.name)
    }
    return dataclasses.replace(settings, fit=dataclasses.replace(own, **changed))
