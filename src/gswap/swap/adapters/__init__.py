"""Parts made elsewhere, one file each; imported only when chosen."""
