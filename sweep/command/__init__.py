"""What was typed, as checked plans: settings, axes, one plan for each study."""
