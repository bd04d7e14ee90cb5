"""The main job in front of your eyes, with made-up patients."""
