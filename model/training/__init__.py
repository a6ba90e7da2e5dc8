"""Feature weights of our own: VGG19's first five layers, learned without labels and without anyone's weights."""
