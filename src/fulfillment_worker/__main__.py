"""`python -m fulfillment_worker` is `fulfillment-worker`."""

from fulfillment_worker.cli.main import main

if __name__ == "__main__":
    main()
