"""The same application elsewhere: as a static site, on engines for many machines, in another server's repository."""
