"""The whole system on one machine: embedded PostgreSQL and Redis, and the parts that use them."""
