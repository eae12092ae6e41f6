"""`allegro-reorient`: the Allegro hand has to turn a cube in its palm to one orientation after the other."""
