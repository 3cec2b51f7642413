"""The local runtime: the deployment's services as processes under supervisord, with a Redis or Valkey of its own."""
