"""Looking at things: each module gathers facts of one kind and judges none. What can not be seen is said in words."""
