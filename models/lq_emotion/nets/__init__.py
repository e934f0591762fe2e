"""The paper's networks as messages: as the authors' code has them, and as the paper describes them."""
