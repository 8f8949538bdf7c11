"""The fault matrix again and again, each time in another order and with other threads ahead."""
