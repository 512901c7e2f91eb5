"""An Internet Computer in one process."""
