"""Where runs are executed: scheduler, launchers, leases, processes, devices."""
