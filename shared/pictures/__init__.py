"""What files of pictures are made of, read without decoding a pixel: their kind, their parts, what stands beside."""
