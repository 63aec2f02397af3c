"""What the commands of `evenskin` do. `services.console.cli` declares them and loads these modules only when called."""
