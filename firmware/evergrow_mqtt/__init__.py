"""A small MQTT client (5 and 3.1.1, QoS 0 and 1) for MicroPython and CPython. Import from its modules."""
