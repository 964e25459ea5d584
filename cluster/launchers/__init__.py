"""How the processes of a node come to be, and how all of them end."""
