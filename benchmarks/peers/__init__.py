"""One module for each way of running the workloads that is not ours: four libraries and two bare loops."""
