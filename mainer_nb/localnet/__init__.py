"""An Internet Computer in one process: real canister wasm behind the real HTTP interface, on this machine.

It follows the IC interface specification; where a module implements a section of it, it says which. It is one subnet
with one node, so there is no consensus: a message is final when the network's database has it. Of `mainer_nb`, only
`protocol` is imported here.

    what a client sees      http         the HTTP interface
                            bodies       reading what a request carries
                            envelope     requests: their form, senders, delegations, expiry
                            signatures   signatures of users checked: plain keys, WebAuthn, canister signatures
                            replica      what http and gateway ask of a network
                            node         the key that signs the answers to queries
                            state_tree   the state as a hash tree, which is certified
                            certification
                                         the certificates of replies: one signature for all who wait
                            gateway      canisters as web sites
                            header_names which names of headers are allowed, in requests and in answers
    what the network does   network      ingress messages, queries, certificates; owns clock, keys and folder
                            scheduler    which canister runs when
                            pool         threads for messages and queries
                            ingress      whether an ingress message is let in
                            messages     executing calls, responses and system tasks
                            ticks        what becomes due: timers, deadlines, heartbeats
                            queries      query calls
                            composite    composite queries, with the queries that they call
                            outcalls     HTTP requests that canisters make
                            fetcher      sends them, if the network was started with outcalls
                            management   the management canister: settings, code, snapshots, … (see management.did)
                            rejections   refusals and traps, in mainnet's words
                            keys         development keys that canisters sign with
                            cycles       prices in cycles
                            limits       what a message may take: instructions, memory
                            clock        the network's time, which a test can hold and move
    what a canister is      canister     its memories and instances; executing, committing and rolling back a message
                            execution    one entry point: what it is given, sees and leaves behind
                            system_api   the functions it imports from ic0
                            runtime      wasmtime: compiling, linking, entering
                            wasm         modules as bytes
                            metering     what their instructions cost
                            memory       copy-on-write memories
    what stays              subnet       canisters, requests and queues, changed one step at a time
                            effects      what an execution leaves behind
                            charging     what canisters pay as time passes
                            state        the state as plain data
                            store        the database in the network's folder
                            journal      changes of memory files, atomically
                            cache        cache folders of bounded size
    common to all           errors
    as a library            sandbox      a fresh network for a test, canisters whose methods are Python methods
    as a program            server       a background process per state folder (`python -m mainer_nb.localnet serve`)
                            launcher     started by icp-cli, with the ledgers that it expects
                            system_canisters
                                         those ledgers, installed under their usual ids
"""
