"""Settings + this machine -> Plan: what will be done."""
