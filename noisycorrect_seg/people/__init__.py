"""Drawing people: bodies, poses, clothes, hair, scenery and the camera that looks at them.

`scene.render` draws one picture with its mask; the other modules are its parts and are not public.
"""
