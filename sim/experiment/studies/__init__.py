"""The questions that this project asks, each as a sweep, a table and a figure; `results/` has the answers."""
