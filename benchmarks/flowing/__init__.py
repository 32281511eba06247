"""What benchmarks/dataflow.py is made of."""
