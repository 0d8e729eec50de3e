"""After a backup is restored: what it forgot, by the log archive and the payment system."""
