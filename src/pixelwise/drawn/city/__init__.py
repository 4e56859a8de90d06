"""Drawn aerial images of a city, in the layout of the ISPRS Potsdam release."""
