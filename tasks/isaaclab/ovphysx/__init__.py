"""PhysX without Kit, stepped directly. The only home of private names of Isaac Lab and OVPhysX."""
