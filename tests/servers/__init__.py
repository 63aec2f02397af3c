"""The real servers that tests run against: RabbitMQ, PostgreSQL and an S3-shaped one; and the browser they drive.

Each server is private and thrown away: on free ports of 127.0.0.1, with its data in a temporary directory. They
are started when the first test asks, by the keeper process (`keeper.py`), which ends with the pytest that
started it, however that ends. `EVENSKIN_TEST_AMQP_URL` and `EVENSKIN_TEST_POSTGRES_URL` name servers to use instead,
`EVENSKIN_TEST_CHROMIUM` another browser than the first one on the PATH.
"""
