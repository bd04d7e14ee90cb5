"""How long what is stored stays: policies, holds, and what forgetting leaves behind as proof."""
