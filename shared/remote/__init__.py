"""Adapters of the ports that need a server: RabbitMQ and S3. Drivers are imported only here."""
