"""Recording rules, alerts and dashboards as data, for one deployment."""
