"""headstart: does a source task give a network a head start on a target task?"""
