"""The mAIner workbench: deploy, create and operate mAIners on the Internet Computer from notebooks."""
