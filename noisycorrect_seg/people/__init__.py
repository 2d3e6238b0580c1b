"""Drawing people: bodies, poses, clothes and the room behind them.

`scene.render` draws one picture with its mask; the other modules are its parts and are not public.
"""
