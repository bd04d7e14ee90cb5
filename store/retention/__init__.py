"""Retention of stored data: policies, holds, and what forgetting leaves behind as proof."""
