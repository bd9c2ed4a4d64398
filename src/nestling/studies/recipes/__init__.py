"""The paper's trainings, each a file: `nestling recipe imagenet_resnet50` tells of one, `--set data=…` runs it."""
