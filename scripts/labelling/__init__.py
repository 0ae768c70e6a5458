"""The annotation server: what stands between this bundle and MONAI Label."""
