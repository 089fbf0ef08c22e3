"""What is read of any Kubernetes cluster, however it is found: `eks` and `kubernetes` share it.

`api` asks, `kinds` and `custom` say what the answers mean, `reading` tells the story of one cluster, `kubeconfig` finds
clusters as kubectl does. Nothing here can change a cluster: the only request there is is a GET.
"""
