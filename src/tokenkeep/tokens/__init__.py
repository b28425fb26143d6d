"""What an application's authentication layer keeps: one record per account, and its log."""
