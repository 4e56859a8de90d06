"""A drawn city from above, in the layout of the ISPRS Potsdam release."""
