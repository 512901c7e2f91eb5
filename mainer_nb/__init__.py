"""A workbench for mAIners on the Internet Computer: deploy, upload, create, check and operate them from notebooks.

    from mainer_nb import check, create, deploy, network, operate, upload

    net = network.connect()            # the embedded network, started if need be
    deploy.deploy(net)
    upload.upload_all(net)
    mainers = create.ensure(net, create.Plan())
    check.check_all(net)
    operate.make_room(net, challenges=1, submissions=1)  # among those that are open
    operate.open_challenge(net, "geography", "What is the capital of France?")
    operate.trigger(net, mainers[0].controller_id)
    operate.submissions(net)

Verbs return plain dataclasses, print nothing, and raise what `errors` lists.

The modules are not sorted into folders, because notebooks import them by name; docs/architecture.md lists their layers.
Folders of their own have `protocol`, what client and network share, and `localnet`, the embedded network.
"""
