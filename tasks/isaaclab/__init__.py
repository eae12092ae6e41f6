"""Isaac Lab behind the env contract: scenes, managers, engines, assets."""
