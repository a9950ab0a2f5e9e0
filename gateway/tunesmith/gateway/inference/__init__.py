"""Inference: requests passed on to engines, answers passed back."""
