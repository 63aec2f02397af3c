"""What the commands of `evenskin` do. `services.cli` declares them and loads these modules only when called."""
