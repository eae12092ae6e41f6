"""PhysX without Kit, stepped directly. The home of private names of OVPhysX and of Isaac Lab on OVPhysX."""
