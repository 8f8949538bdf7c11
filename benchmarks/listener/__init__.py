"""What is heard of a real Z-Waif through an outage and back."""
