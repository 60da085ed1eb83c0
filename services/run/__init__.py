"""Starting and stopping: the processes of a node and who watches over them."""
